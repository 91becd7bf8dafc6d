/** Tables of text with aligned columns, for people. */

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/** Lays rows out under their titles with a rule between; every row has one cell for each column. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const widths = columns.map((column, index) => Math.max(width(column.title), ...rows.map((row) => width(row[index] ?? ''))));
  const line = (cells: readonly string[]) =>
    columns.map((column, index) => pad(cells[index] ?? '', widths[index] ?? 0, column.align ?? 'left')).join('  ').trimEnd();
  return [line(columns.map((column) => column.title)), widths.map((size) => '─'.repeat(size)).join('  '), ...rows.map(line)];
}

function width(text: string): number {
  return [...text].length;
}

function pad(text: string, size: number, align: 'left' | 'right'): string {
  const room = ' '.repeat(Math.max(0, size - width(text)));
  return align === 'left' ? text + room : room + text;
}
