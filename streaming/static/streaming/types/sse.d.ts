/** One event of a stream; `id` is the last event ID in force at dispatch. */
export interface Message {
  event: string;
  data: string;
  id: string;
}

/** The peer's bytes cannot be read as an event stream. */
export class StreamError extends Error {}

/** Bytes in, messages out (WHATWG HTML, section 9.2.6). */
export class Parser {
  constructor(options?: { lastEventId?: string; maxMessageChars?: number });
  /** What a reconnect must send. */
  lastEventId: string;
  /** The reconnection time that the server asked for, in milliseconds. */
  retry: number | undefined;
  /** The messages that these bytes complete. Throws what cannot be read. */
  feed(bytes: Uint8Array): Message[];
}
