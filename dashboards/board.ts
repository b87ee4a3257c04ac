import {
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard'
import { datasource, type PanelToNumber } from './panels.ts'
import { series } from './promql.ts'

const tag = 'signalbox'

export interface BoardSpec {
  uid: string
  title: string
  description: string
  /** Title of a row to its panels, from left to right. */
  rows: Record<string, PanelToNumber[]>
}

/** A dashboard with the variables and links that all of them have. Panels are numbered in their order. */
export function board({ uid, title, description, rows }: BoardSpec): Dashboard {
  const dashboard = new DashboardBuilder(`Signalbox / ${title}`)
    .uid(uid)
    .description(description)
    .tags([tag])
    .timezone('browser')
    .time({ from: 'now-1h', to: 'now' })
    .refresh('30s')
    .tooltip(DashboardCursorSync.Crosshair)
    .link(
      new DashboardLinkBuilder('Signalbox')
        .type(DashboardLinkType.Dashboards)
        .tags([tag])
        .includeVars(true)
        .keepTime(true),
    )
    .variables([
      new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'),
      choice('namespace', 'Namespace', 'signalbox_build_info'),
      choice('environment', 'Environment', 'signalbox_build_info{namespace=~"$namespace"}'),
      choice('model', 'Model', series('signalbox_upstream_attempts_total')),
    ])
  let id = 1
  for (const [row, panels] of Object.entries(rows)) {
    dashboard.withRow(new RowBuilder(row).id(id++))
    for (const panel of panels) {
      panel.id(id++)
      dashboard.withPanel(panel)
    }
  }
  return dashboard.build()
}

/** The values of a label, any number of them. All of them is `.*`: also where the label is absent. */
const choice = (label: string, title: string, of: string): QueryVariableBuilder =>
  new QueryVariableBuilder(label)
    .label(title)
    .datasource(datasource)
    .query(`label_values(${of}, ${label})`)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue('.*')
    .current({ selected: true, text: ['All'], value: ['$__all'] })
