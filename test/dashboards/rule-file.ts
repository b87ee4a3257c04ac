import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { root } from '../process.ts'

export const rulesDirectory = join(root, 'dashboards', 'rules')
export const rulesFile = join(rulesDirectory, 'signalbox.rules.yaml')

/** A rule that records a series. */
export interface Recording {
  record: string
  expr: string
  labels?: Record<string, string>
}

export interface Alert {
  alert: string
  expr: string
  for: string
  labels: Record<string, string>
  annotations: Record<string, string>
}

export interface RuleFile {
  groups: { name: string; rules: (Recording | Alert)[] }[]
}

export const ruleFile: RuleFile = parse(readFileSync(rulesFile, 'utf8'))

const rules = ruleFile.groups.flatMap((group) => group.rules)
export const alerts = rules.filter((rule) => 'alert' in rule)
export const recordings = rules.filter((rule) => 'record' in rule)
