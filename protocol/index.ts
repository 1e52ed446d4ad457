/** `skylinedb/protocol`: everything a program needs to speak to the daemon by itself. No I/O. */

export { CATALOG_FILE, checkDatabaseName, isBareName } from './database-name.js';
export { decodeExec, decodeExecBatch } from './decode-exec-batch.js';
export { decodeIncoming, type Incoming } from './decode-incoming.js';
export { decodeReply } from './decode-reply.js';
export { decodeId, decodeRequest } from './decode-request.js';
export {
  isPipe,
  resolveEndpoint,
  type Surroundings,
  stateFolder,
  userDataFolder,
  WINDOWS_PIPE,
} from './endpoint.js';
export {
  type ClientErrorCode,
  codeOf,
  invalidRequest,
  isErrorCode,
  messageOf,
  ProtocolError,
  SkylineError,
  toErrorReply,
} from './errors.js';
export {
  DEFAULT_MAX_FRAME,
  decodeText,
  encodeFrame,
  FrameDecoder,
  HEADER_BYTES,
  type JsonObject,
  parseObject,
} from './frame.js';
export * from './messages.js';
export {
  cellToJson,
  decodeCell,
  decodeParam,
  encodeValue,
  FrameText,
  real,
  type SqlBind,
  type SqlInput,
  type SqlOutput,
} from './values.js';
