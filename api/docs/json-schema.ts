/** JSON Schema of our zod schemas, and what can be made from it for readers: flat lists of fields, and examples. */
import { z } from 'zod';
import { kinds, namedExamples, tellingExamples } from '../wire/examples/names.ts';

/** The part of JSON Schema that our schemas use. */
export interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly pattern?: string;
  readonly format?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly additionalProperties?: boolean | JsonSchema;
}

/** @param side `input`: what clients send; `output`: what they receive. */
export function jsonSchemaOf(schema: z.ZodType, side: 'input' | 'output'): JsonSchema {
  const { $schema: _, ...rest } =
    z.toJSONSchema(schema, { io: side, unrepresentable: 'any', override: ({ jsonSchema }) => tidy(jsonSchema) });
  return rest as JsonSchema;
}

/** zod states the range of JavaScript's integers everywhere; it says nothing to readers. */
function tidy(schema: { minimum?: number; maximum?: number; propertyNames?: unknown; additionalProperties?: unknown }): void {
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum;
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
  delete schema.propertyNames;
}

/** One field of a body or an answer, for a table. */
export interface Field {
  /** Such as `session.expiresAt` or `services[].price`. */
  readonly name: string;
  readonly type: string;
  readonly required: boolean;
  /** Description and limits, as text. */
  readonly notes: string;
}

const DEPTH_MAX = 4;

/** The fields of an object schema in reading order, those of objects and lists inside it indented by their path. */
export function fieldsOf(schema: JsonSchema, prefix = '', depth = 0): Field[] {
  if (depth > DEPTH_MAX) return [];
  return Object.entries(schema.properties ?? {}).flatMap(([key, property]) => {
    const name = prefix + key;
    const inner = essential(property);
    const field: Field = { name, type: typeOf(property), required: schema.required?.includes(key) ?? false, notes: notesOf(property) };
    const below = inner.items === undefined ? fieldsOf(inner, `${name}.`, depth + 1)
      : fieldsOf(essential(inner.items), `${name}[].`, depth + 1);
    return [field, ...below];
  });
}

/** Of "this or null", this. */
function essential(schema: JsonSchema): JsonSchema {
  const choices = schema.anyOf ?? schema.oneOf;
  return choices?.find((choice) => choice.type !== 'null') ?? schema;
}

function typeOf(schema: JsonSchema): string {
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices !== undefined) return [...new Set(choices.map(typeOf))].join(' | ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  if (schema.items !== undefined) return `${typeOf(schema.items)}[]`;
  if (schema.format === 'date-time') return 'time';
  return Array.isArray(schema.type) ? schema.type.join(' | ') : String(schema.type ?? 'any');
}

function notesOf(schema: JsonSchema): string {
  const { minLength, maxLength, minimum, maximum, minItems, maxItems } = schema;
  const notes = [
    schema.description,
    rangeText(minLength, maxLength, 'characters'), rangeText(minimum, maximum, ''), rangeText(minItems, maxItems, 'entries'),
    schema.default === undefined ? undefined : `default ${JSON.stringify(schema.default)}`,
  ];
  return notes.filter((note) => note !== undefined && note !== '').join(' · ');
}

function rangeText(min: number | undefined, max: number | undefined, unit: string): string {
  if (min === undefined && max === undefined) return '';
  const range = min === undefined ? `at most ${max}` : max === undefined ? `at least ${min}` : min === max
    ? `exactly ${min}` : `${min} to ${max}`;
  return `${range} ${unit}`.trim();
}

/** A value that fits the schema, for the docs. Optional fields are left out, as in a first call. */
export function exampleOf(schema: JsonSchema, side: 'input' | 'output', name = ''): unknown {
  const telling = Object.hasOwn(tellingExamples, name) && schema.type === 'string' ? tellingExamples[name] : undefined;
  if (telling !== undefined) return telling[side];
  if (schema.examples?.[0] !== undefined) return schema.examples[0];
  if (schema.const !== undefined) return schema.const;
  if (schema.enum?.[0] !== undefined) return schema.enum[0];
  const inner = essential(schema);
  if (inner !== schema) return exampleOf(inner, side, name);
  if (schema.default !== undefined && side === 'input') return schema.default;
  if (Object.hasOwn(namedExamples, name)) return namedExamples[name];
  if (schema.properties !== undefined) {
    const wanted = Object.entries(schema.properties).filter(([key]) => schema.required?.includes(key) || key === 'params');
    const ofKind = kinds.find(([field]) => Object.hasOwn(schema.properties ?? {}, field))?.[1] ?? {};
    return Object.fromEntries(wanted.map(([key, property]) => [key, ofKind[key] ?? exampleOf(property, side, key)]));
  }
  const { items } = schema;
  if (items !== undefined) return Array.from({ length: Math.max(1, schema.minItems ?? 1) }, () => exampleOf(items, side));
  return plainExample(schema);
}

function plainExample(schema: JsonSchema): unknown {
  switch (Array.isArray(schema.type) ? schema.type[0] : schema.type) {
    case 'integer': return schema.minimum ?? 0;
    case 'number': return schema.minimum ?? 0;
    case 'boolean': return true;
    case 'array': return [];
    case 'object': return {};
    case 'null': return null;
    default: return schema.format === 'date-time' ? '2026-01-31T12:00:00.000Z' : 'text';
  }
}
