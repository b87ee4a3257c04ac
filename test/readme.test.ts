import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Program, root, runGateway, runModule } from './process.ts'

/** A fenced block of the README. */
interface Block {
  language: string
  code: string
  /** The line before it is `<!-- test -->`. */
  marked: boolean
  /** Where it begins. */
  line: number
}

function blocksOf(markdown: string): Block[] {
  const fences = /^ *(<!-- test -->\s*\n *)?```(\w*).*\n([\s\S]*?)^ *```\s*$/gm
  return [...markdown.matchAll(fences)].map(({ index, 1: mark, 2: language = '', 3: code = '' }) => ({
    language,
    code,
    marked: mark !== undefined,
    line: markdown.slice(0, index).split('\n').length + (mark ? 1 : 0),
  }))
}

const readme = readFileSync(join(root, 'README.md'), 'utf8')
const blocks = blocksOf(readme)
const curls = blocks.filter(({ language, code }) => language === 'sh' && /\bcurl\b/.test(code))
const modules = blocks.filter(({ language, marked }) => language === 'ts' && marked)

const gateway = await runGateway(t, { cwd: t.testdir() })
/** As the README has it, except for the address. */
const here = (code: string): string => code.replaceAll(/\b(127\.0\.0\.1|localhost):4000\b/g, new URL(gateway.url).host)

t.test('the README shows curl commands and modules to try', async (t) => {
  t.ok(curls.length > 0, 'blocks of sh with curl')
  t.ok(modules.length > 0, 'blocks of ts behind <!-- test -->')
})

t.test('every curl command of the README is in a block of sh, where it is tried', async (t) => {
  const untried = blocks.filter((block) => /\bcurl /.test(block.code) && !curls.includes(block))
  t.same(untried, [])
})

for (const { code, line } of curls) {
  t.test(`the curl commands at line ${line} answer`, async (t) => {
    // An npm that starts the gateway, or installs, would do so in this repository.
    if (!t.notMatch(code, /\bnpm\b/, 'the start of the gateway is a block of its own')) return
    const { code: exitCode, stdout, stderr } = await new Program(t, 'sh', { args: ['-ec', here(code)] }).exited
    t.equal(exitCode, 0, stderr)
    t.not(stdout, '')
    t.notMatch(stdout, /"error"/)
    if (/"stream": *true/.test(code)) t.match(stdout, /data: \{.*\ndata: \[DONE\]/s)
  })
}

t.test('the agent of the README runs on its extension', async (t) => {
  const agents = blocks.find(({ language, code }) => language === 'yaml' && code.includes('agents:'))?.code ?? ''
  const extension = blocks.find(({ code }) => code.includes('export const tools'))?.code ?? ''
  // Its model, `fast`, stands in the configuration further above, with providers that want keys.
  const configuration = agents.replace('model: fast', 'model: demo/echo')
  const cwd = t.testdir({ 'signalbox.yaml': configuration, 'extension.ts': extension })
  const { baseURL } = await runGateway(t, { cwd })
  const ask = async (content: string, stream: boolean): Promise<string> => {
    const body = JSON.stringify({ model: 'helpdesk', stream, messages: [{ role: 'user', content }] })
    return (await fetch(`${baseURL}/chat/completions`, { method: 'POST', body })).text()
  }
  // The demo model calls a tool when the user names it, with the text as every argument.
  t.match(JSON.parse(await ask('order_status', false)), {
    choices: [{ message: { content: /The tool answered: .*"status":"unknown"/ }, finish_reason: 'stop' }],
  })
  t.match(JSON.parse(await ask('My card is 4111111111111111', false)), {
    choices: [{ message: { refusal: 'Card numbers stay with you.' }, finish_reason: 'content_filter' }],
  })
  t.match(await ask('My card is 4111111111111111', true), /"finish_reason":"content_filter".*\[DONE\]/s)
})

for (const { code, line } of modules) {
  t.test(`the module at line ${line} runs`, async (t) => {
    const cwd = t.testdir({ 'module.ts': here(code) })
    const { code: exitCode, stdout, stderr } = await runModule(t, join(cwd, 'module.ts')).exited
    t.equal(exitCode, 0)
    t.equal(stderr, '')
    t.not(stdout, '', 'it shows something')
  })
}

t.test('its contents name each section, and each link within it leads to one', async (t) => {
  // As GitHub makes them: lower case, without punctuation, spaces as dashes.
  const anchorOf = (heading: string): string =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} -]/gu, '')
      .replaceAll(' ', '-')
  const prose = readme.replaceAll(/^ *```[\s\S]*?^ *```$/gm, '')
  const headings = [...prose.matchAll(/^(#{2,}) (.+)$/gm)].map(([, level, heading = '']) => ({ level, heading }))
  const [contents = ''] = prose.split('\n## ')
  const sections = headings.filter(({ level }) => level === '##')
  t.ok(sections.length > 10)
  for (const { heading } of sections) t.ok(contents.includes(`[${heading}](#${anchorOf(heading)})`), heading)
  const anchors = headings.map(({ heading }) => anchorOf(heading))
  for (const [link, anchor = ''] of prose.matchAll(/\]\(#([^)]+)\)/g)) t.ok(anchors.includes(anchor), link)
})
