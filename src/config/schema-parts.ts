/** Of every section: a key that is misspelt is told. */
export const options = { additionalProperties: false }
