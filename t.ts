import {documentedValues} from './helm/values-comments.ts'
for (const v of documentedValues(new URL('./helm/values.yaml', import.meta.url))) console.log(v.path.join('.'), '|', v.description ?? '('+v.remark+')', '|', JSON.stringify(v.value)?.slice(0,40))
