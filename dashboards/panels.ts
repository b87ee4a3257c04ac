import { PanelBuilder as BarGaugeBuilder } from '@grafana/grafana-foundation-sdk/bargauge'
import type { Builder } from '@grafana/grafana-foundation-sdk/cog'
import {
  BigValueColorMode,
  BigValueGraphMode,
  BigValueTextMode,
  GraphThresholdsStyleConfigBuilder,
  GraphThresholdsStyleMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  SortOrder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VizLegendOptionsBuilder,
  VizOrientation,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common'
import {
  DashboardLinkBuilder,
  DashboardLinkType,
  type Panel,
  type Threshold,
  ThresholdsConfigBuilder,
  ThresholdsMode,
} from '@grafana/grafana-foundation-sdk/dashboard'
import {
  PanelBuilder as HeatmapBuilder,
  HeatmapColorMode,
  HeatmapColorOptionsBuilder,
  YAxisConfigBuilder,
} from '@grafana/grafana-foundation-sdk/heatmap'
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus'
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat'
import { PanelBuilder as TimeseriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries'

/** The Prometheus that the variable `datasource` chooses. */
export const datasource = { type: 'prometheus', uid: '$datasource' }

/** The dashboards, by the ids that links and bookmarks have. */
export const uids = {
  overview: 'signalbox-overview',
  models: 'signalbox-models',
  cost: 'signalbox-cost',
  runtime: 'signalbox-runtime',
} as const

const titles: Record<keyof typeof uids, string> = {
  overview: 'Overview',
  models: 'Models and providers',
  cost: 'Tenants and cost',
  runtime: 'Runtime and store',
}

/** A panel that has yet to be given its number. */
export interface PanelToNumber extends Builder<Panel> {
  id(id: number): unknown
}

/** From where on it is worth a look, and an alarm; or nowhere, for what is neither good nor bad. */
export type Limits = { above: [worry: number, alarm: number] } | { below: [worry: number, alarm: number] } | 'none'

export interface PanelSpec {
  title: string
  /** What is seen, and what to make of it. */
  description: string
  /** One of Grafana's. */
  unit: string
  limits: Limits
  /** Where to look next. */
  next: keyof typeof uids
  /** Legend to expression. */
  queries: Record<string, string>
  /** Of 24 columns. Default: 4 for one number, 8 for the rest. */
  width?: number
}

/** One number each, and how it was. */
export const stat = (spec: PanelSpec & { showsName?: boolean }): PanelToNumber =>
  withQueries(
    described(new StatBuilder(), spec)
      .graphMode(spec.showsName ? BigValueGraphMode.None : BigValueGraphMode.Area)
      .colorMode(BigValueColorMode.Value)
      .textMode(spec.showsName ? BigValueTextMode.Name : BigValueTextMode.Auto)
      .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']))
      .height(4)
      .span(spec.width ?? 4),
    spec,
  )

/** Lines over time. `stacked` where their sum means something; `exemplars` where the metric has them. */
export function lines(spec: PanelSpec & { stacked?: boolean; exemplars?: boolean }): PanelToNumber {
  const panel = described(new TimeseriesBuilder(), spec)
    .min(0)
    .lineWidth(1)
    .fillOpacity(spec.stacked ? 40 : 8)
    .thresholdsStyle(
      new GraphThresholdsStyleConfigBuilder().mode(
        spec.limits === 'none' ? GraphThresholdsStyleMode.Off : GraphThresholdsStyleMode.Dashed,
      ),
    )
    .legend(
      new VizLegendOptionsBuilder()
        .displayMode(LegendDisplayMode.List)
        .placement(LegendPlacement.Bottom)
        .showLegend(true),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi).sort(SortOrder.Descending))
    .height(8)
    .span(spec.width ?? 8)
  if (spec.stacked) panel.stacking(new StackingConfigBuilder().mode(StackingMode.Normal).group('A'))
  return withQueries(panel, spec, (query) => query.exemplar(spec.exemplars ?? false))
}

/** How often which value, over time: the query's series are the buckets of a histogram in `unit`. */
export const heatmap = (spec: PanelSpec & { cells: string; exemplars?: boolean }): PanelToNumber =>
  withQueries(
    described(new HeatmapBuilder(), { ...spec, unit: spec.cells })
      .calculate(false)
      .yAxis(new YAxisConfigBuilder().unit(spec.unit))
      .color(new HeatmapColorOptionsBuilder().mode(HeatmapColorMode.Scheme).scheme('Turbo').steps(64))
      .height(8)
      .span(spec.width ?? 8),
    spec,
    (query) => query.format(PromQueryFormat.Heatmap).exemplar(spec.exemplars ?? false),
  )

/** One bar each. */
export const bars = (spec: PanelSpec): PanelToNumber =>
  withQueries(
    described(new BarGaugeBuilder(), spec)
      .min(0)
      .orientation(VizOrientation.Horizontal)
      .reduceOptions(new ReduceDataOptionsBuilder().calcs(['lastNotNull']))
      .height(8)
      .span(spec.width ?? 8),
    spec,
  )

interface Describable {
  title(title: string): this
  description(description: string): this
  unit(unit: string): this
  thresholds(thresholds: ThresholdsConfigBuilder): this
  links(links: DashboardLinkBuilder[]): this
  datasource(reference: typeof datasource): this
}

const described = <Target extends Describable>(panel: Target, spec: PanelSpec): Target =>
  panel
    .title(spec.title)
    .description(spec.description)
    .unit(spec.unit)
    .datasource(datasource)
    .thresholds(new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(stepsOf(spec.limits)))
    .links([
      new DashboardLinkBuilder(titles[spec.next])
        .type(DashboardLinkType.Link)
        .url(`/d/${uids[spec.next]}?$\{__url_time_range}&$\{__all_variables}`),
    ])

function stepsOf(limits: Limits): Threshold[] {
  if (limits === 'none') return [{ value: null, color: 'blue' }]
  if ('above' in limits) {
    const [worry, alarm] = limits.above
    return steps(['green'], [worry, 'yellow'], [alarm, 'red'])
  }
  const [worry, alarm] = limits.below
  return steps(['red'], [alarm, 'yellow'], [worry, 'green'])
}

const steps = ([base]: [string], ...rest: [number, string][]): Threshold[] => [
  { value: null, color: base },
  ...rest.map(([value, color]) => ({ value, color })),
]

function withQueries<Target extends { withTarget(target: DataqueryBuilder): Target }>(
  panel: Target,
  { queries }: PanelSpec,
  as: (query: DataqueryBuilder) => DataqueryBuilder = (query) => query,
): Target {
  for (const [index, [legend, expression]] of Object.entries(queries).entries()) {
    const query = new DataqueryBuilder()
      .refId(String.fromCharCode(65 + index))
      .expr(expression)
      .legendFormat(legend)
      .datasource(datasource)
    // What sums up the whole time has one value, of now.
    if (expression.includes('[$__range]')) query.instant()
    else query.range()
    panel.withTarget(as(query))
  }
  return panel
}
