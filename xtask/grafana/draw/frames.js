// From Prometheus's answers to the frames that Grafana's components draw.
import {
  FieldType, createDataFrame, getDisplayProcessor, standardTransformers, standardTransformersRegistry, transformDataFrame,
} from '@grafana/data';
import { firstValueFrom } from 'rxjs';

standardTransformersRegistry.setInit(() => [
  standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer, standardTransformers.sortByTransformer,
].map((transformation) => ({ id: transformation.id, transformation, name: transformation.name, editor: () => null })));

const number = (text) => (text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text));

function name(labels, legend) {
  if (legend) return legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '');
  return Object.keys(labels).length ? JSON.stringify(labels) : 'Value';
}

// One frame for each series; where a point is missing there is a null, so that a gap stays a gap.
function lines({ data, legend, refId }, span) {
  return (data?.result ?? []).map(({ metric, values, value }) => {
    const points = new Map((values ?? [value]).map(([time, text]) => [time, number(text)]));
    const times = [];
    if (values) for (let time = span.start; time <= span.end; time += span.step) times.push(time);
    else times.push(value[0]);
    return createDataFrame({ refId, fields: [
      { name: 'Time', type: FieldType.time, values: times.map((time) => time * 1000) },
      { name: name(metric, legend), type: FieldType.number, labels: {}, values: times.map((time) => points.get(time) ?? null) },
    ] });
  });
}

// One frame for all series: a row each, a column for each label.
function rows({ data, refId }) {
  const series = data?.result ?? [];
  const labels = [...new Set(series.flatMap(({ metric }) => Object.keys(metric)))];
  return createDataFrame({ refId, fields: [
    { name: 'Time', type: FieldType.time, values: series.map(({ value }) => value[0] * 1000) },
    ...labels.map((label) => ({ name: label, type: FieldType.string, values: series.map(({ metric }) => metric[label] ?? '') })),
    { name: `Value #${refId}`, type: FieldType.number, values: series.map(({ value }) => number(value[1])) },
  ] });
}

function set(config, path, value) {
  const keys = path.split('.');
  let inner = config;
  for (const key of keys.slice(0, -1)) inner = inner[key] = { ...inner[key] };
  inner[keys.at(-1)] = value;
}

// The panel's field configuration, as Grafana applies it.
function configure(frames, { fieldConfig }, theme) {
  let seriesIndex = 0;
  for (const frame of frames) {
    for (const field of frame.fields) {
      const own = field.config ?? {};
      const shown = own.displayName ?? field.name;
      field.config = { ...structuredClone(fieldConfig.defaults), ...own };
      for (const { matcher, properties } of fieldConfig.overrides) {
        if (matcher.options === shown || matcher.options === field.name) {
          for (const { id, value } of properties) set(field.config, id, value);
        }
      }
      if (field.type === FieldType.time) field.config = { ...own, custom: {} };
      field.state = { displayName: shown, seriesIndex: field.type === FieldType.number ? seriesIndex++ : undefined };
      field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
      field.getLinks = () => [];
    }
  }
  return frames;
}

export async function frames(panel, answers, span, theme) {
  const mine = answers.filter((answer) => answer.panel === panel.id);
  let made = panel.type === 'table' ? mine.filter(({ data }) => data?.result.length).map(rows)
    : mine.flatMap((answer) => lines(answer, span));
  if (panel.transformations?.length && made.length) {
    made = await firstValueFrom(transformDataFrame(panel.transformations, made));
  }
  return configure(made, panel, theme);
}
