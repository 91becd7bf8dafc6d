/**
 * Where messages and stack traces of failures are put when keys for Temporal's payloads are set: into a payload, which is encrypted,
 * instead of into fields that everybody can read. CommonJS, because the SDK loads it with `require`, beside workers and in their sandboxes.
 */
'use strict';
const { DefaultFailureConverter } = require('@temporalio/common');

exports.failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true });
