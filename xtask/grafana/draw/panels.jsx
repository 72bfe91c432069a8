// Thin adapters from a panel's JSON to Grafana's published components: what its own panel plugins, which are in no
// package, do besides is not shown.
import { FieldType, VizOrientation, dateTime, getFieldColorModeForField, reduceField } from '@grafana/data';
import { BarGauge, BigValue, PanelChrome, Table, TimeSeries, UPlotChart, UPlotConfigBuilder, VizRepeater } from '@grafana/ui';
import React from 'react';

export const timeRange = (span) => {
  const [from, to] = [dateTime(span.start * 1000), dateTime(span.end * 1000)];
  return { from, to, raw: { from, to } };
};

function Nothing({ panel, width, height, theme }) {
  const style = { width, height, display: 'grid', placeItems: 'center', textAlign: 'center', color: theme.colors.text.secondary };
  return <div className="nothing" style={style}>{panel.fieldConfig.defaults.noValue}</div>;
}

const Lines = ({ panel, frames, span, width, height }) => (
  <TimeSeries frames={frames} structureRev={1} timeRange={timeRange(span)} timeZone="utc" width={width} height={height}
    legend={panel.options.legend} options={panel.options} />
);

// The last value of each series, with the display that its field gives it.
const values = (frames) => frames.flatMap((frame) => frame.fields.filter((field) => field.type === FieldType.number))
  .map((field) => {
    const display = field.display(reduceField({ field, reducers: ['lastNotNull'] }).lastNotNull);
    return { field, value: { ...display, title: field.state.displayName === 'Value' ? '' : field.state.displayName } };
  });

const Stat = ({ panel, frames, width, height, theme }) => {
  const all = values(frames);
  return (
    <VizRepeater source={frames} getValues={() => all} width={width} height={height} itemSpacing={3} autoGrid
      orientation={VizOrientation.Auto} renderValue={({ value, width, height }) => (
        <BigValue value={value.value} width={width} height={height} theme={theme} colorMode={panel.options.colorMode}
          graphMode="none" justifyMode={panel.options.justifyMode} textMode={panel.options.textMode} count={all.length} wideLayout />
      )} />
  );
};

const Bars = ({ panel, frames, width, height, theme }) => {
  const all = values(frames);
  const top = Math.max(...all.map(({ value }) => value.numeric));
  return (
    <VizRepeater source={frames} getValues={() => all} width={width} height={height} itemSpacing={8} minVizHeight={panel.options.minVizHeight}
      maxVizHeight={60} orientation={VizOrientation.Horizontal} renderValue={({ value, width, height }) => (
        <BarGauge value={value.value} field={{ ...value.field.config, max: top }} display={value.field.display} theme={theme}
          width={width} height={height} orientation={VizOrientation.Horizontal} displayMode={panel.options.displayMode}
          valueDisplayMode={panel.options.valueMode} showUnfilled={panel.options.showUnfilled} namePlacement="auto" itemSpacing={8} />
      )} />
  );
};

const Rows = ({ frames, width, height }) => (
  <Table data={frames[0]} width={width} height={height} ariaLabel="table" />
);

// Buckets come cumulated; each cell is the difference to the bucket below.
function cells(frames) {
  const sorted = frames.map((frame) => ({ le: Number(frame.fields[1].name.replace('+Inf', 'Infinity')), values: frame.fields[1].values }))
    .sort((a, b) => a.le - b.le);
  return sorted.map(({ le, values }, row) => ({ le, counts: values.map((value, i) =>
    (value === null ? 0 : Math.max(0, value - (row ? sorted[row - 1].values[i] ?? 0 : 0)))) }));
}

const schemes = { Blues: [0, 114, 178], Oranges: [230, 159, 0] };

function Heatmap({ panel, frames, span, width, height, theme }) {
  const buckets = cells(frames).filter(({ counts, le }) => le !== Infinity || counts.some((count) => count > 0));
  const most = Math.max(...buckets.flatMap(({ counts }) => counts));
  const times = frames[0].fields[0].values;
  const builder = new UPlotConfigBuilder('utc');
  // Sizes are whole numbers, so that a bucket of up to 2^n - 1 bytes ends where the next begins.
  const next = panel.fieldConfig.defaults.unit === 'bytes' ? 1 : 0;
  const label = (le) => { const shown = frames[0].fields[1].display(le + next); return `${shown.text}${shown.suffix ?? ''}`; };
  builder.addScale({ scaleKey: 'x', isTime: true, orientation: 0, direction: 1, range: () => [span.start * 1000, span.end * 1000] });
  builder.addScale({ scaleKey: 'y', orientation: 1, direction: 1, range: () => [0, buckets.length] });
  builder.addAxis({ scaleKey: 'x', isTime: true, placement: 'bottom', theme, timeZone: 'utc' });
  builder.addAxis({ scaleKey: 'y', placement: 'left', theme, size: 70, splits: () => buckets.map((_, row) => row + 1),
    values: (_, splits) => splits.map((at) => (buckets[at - 1].le === Infinity ? '∞' : label(buckets[at - 1].le))) });
  builder.addSeries({ scaleKey: 'y', pathBuilder: () => null, pointsBuilder: () => null, theme });
  builder.addHook('draw', (u) => {
    const step = span.step * 1000;
    buckets.forEach(({ counts }, row) => counts.forEach((count, i) => {
      if (count <= panel.options.filterValues.le) return;
      const [left, right] = [times[i] - step, times[i]].map((at) => u.valToPos(at, 'x', true));
      const [bottom, top] = [row, row + 1].map((at) => u.valToPos(at, 'y', true));
      const strength = 0.15 + 0.85 * (count / most) ** panel.options.color.exponent;
      u.ctx.fillStyle = `rgba(${schemes[panel.options.color.scheme].join(',')},${strength})`;
      u.ctx.fillRect(Math.max(left, u.bbox.left), top, Math.max(right - left - 1, 1), bottom - top - 1);
    }));
  });
  return <UPlotChart data={[times, times.map(() => 0)]} config={builder} width={width} height={height} timeRange={timeRange(span)} />;
}

const kinds = { timeseries: Lines, stat: Stat, bargauge: Bars, table: Rows, heatmap: Heatmap };

export function Panel(props) {
  const { panel, frames, width, height, theme, span } = props;
  const Kind = kinds[panel.type];
  const empty = !frames.some((frame) => frame.length > 0);
  return (
    <PanelChrome title={panel.title} description={panel.description} width={width} height={height}>
      {(width, height) => (empty ? <Nothing {...{ panel, width, height, theme }} /> : <Kind {...{ panel, frames, width, height, theme, span }} />)}
    </PanelChrome>
  );
}

export { getFieldColorModeForField };
