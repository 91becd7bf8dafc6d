/** The search attributes of the platform by name and type; nothing of the SDK is needed to know them. */

/** The attributes with their types, as a server must have them. */
export const searchAttributeTypes = {
  Buyer: 'KEYWORD', Seller: 'KEYWORD', PaymentState: 'KEYWORD', PaymentOutcome: 'KEYWORD', AmountUsd: 'DOUBLE', Tenant: 'KEYWORD',
} as const;

/** As Temporal's CLI spells the types. */
export const searchAttributeTypeNames = { KEYWORD: 'Keyword', DOUBLE: 'Double' } as const;

export type SearchAttributeName = keyof typeof searchAttributeTypes;
