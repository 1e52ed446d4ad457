/** A sample of the text format: its name, its labels in the order in which they stand, its value. */
export interface Sample {
  readonly name: string;
  readonly labels: { readonly [label: string]: string };
  readonly value: number;
}

/**
 * Reads Prometheus's text format by its own rules, not by how we write it
 * (https://prometheus.io/docs/instrumenting/exposition_formats/#text-format-details).
 * @throws Error at what Prometheus would not take: a line of no form, a type after its samples, a histogram that falls
 */
export class Exposition {
  readonly samples: Sample[] = [];
  readonly #types = new Map<string, string>();

  constructor(text: string) {
    if (!text.endsWith('\n')) throw new Error('the last line must end with a line feed');
    for (const line of text.split('\n')) if (line !== '') this.#read(line);
    for (const [name, type] of this.#types) if (type === 'histogram') this.#checkHistogram(name);
  }

  /** The value of the only sample with this name and these labels. */
  value(name: string, labels: Sample['labels'] = {}): number | undefined {
    const found = this.samples.filter(
      (sample) =>
        sample.name === name &&
        Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
    );
    if (found.length > 1) throw new Error(`${name} ${JSON.stringify(labels)} is not one sample`);
    return found[0]?.value;
  }

  /** The values of a label, in the order in which they come. */
  values(name: string, label: string): string[] {
    return this.samples.filter((sample) => sample.name === name).map(({ labels }) => labels[label] ?? '');
  }

  /** Counters and the counts of histograms: what must never fall. */
  get rising(): Map<string, number> {
    const rising = new Map<string, number>();
    for (const { name, labels, value } of this.samples) {
      const type = this.#types.get(name) ?? this.#types.get(name.replace(/_(bucket|count|sum)$/, ''));
      if (type === 'counter' || type === 'histogram') rising.set(`${name} ${JSON.stringify(labels)}`, value);
    }
    return rising;
  }

  #read(line: string): void {
    const comment = /^# (HELP|TYPE) ([a-z_:][a-z0-9_:]*) (.+)$/i.exec(line);
    if (comment !== null) {
      const [, kind, name = '', rest = ''] = comment;
      if (kind !== 'TYPE') return;
      if (this.#types.has(name) || this.samples.some((sample) => sample.name === name))
        throw new Error(`a type of ${name} comes late or twice`);
      this.#types.set(name, rest);
      return;
    }
    const sample = /^([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? (\S+)$/i.exec(line);
    if (sample === null) throw new Error(`no line of the format: ${line}`);
    const [, name = '', inner = '', value = ''] = sample;
    const labels: { [label: string]: string } = {};
    const rest = inner.replace(/([a-z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)",?/giy, (_all, label, text) => {
      labels[label] = text.replace(/\\(.)/g, (_pair: string, char: string) => (char === 'n' ? '\n' : char));
      return '';
    });
    if (rest !== '' || Number.isNaN(Number(value))) throw new Error(`no line of the format: ${line}`);
    this.samples.push({ name, labels, value: Number(value) });
  }

  /** Buckets rise, and the last one is the count. */
  #checkHistogram(name: string): void {
    const last = new Map<string, { le: number; value: number }>();
    const key = ({ le: _le, ...labels }: Sample['labels']) => JSON.stringify(labels);
    for (const { name: sample, labels, value } of this.samples) {
      if (sample === `${name}_bucket`) {
        const before = last.get(key(labels));
        const le = labels.le === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels.le);
        if (before !== undefined && !(before.le < le && before.value <= value))
          throw new Error(`the buckets of ${name} ${key(labels)} do not rise`);
        last.set(key(labels), { le, value });
      }
      if (sample === `${name}_count`) {
        const { le, value: all } = last.get(key(labels)) ?? { le: 0, value: -1 };
        if (le !== Number.POSITIVE_INFINITY || all !== value)
          throw new Error(`the last bucket of ${name} ${key(labels)} is not its count`);
      }
    }
  }
}
