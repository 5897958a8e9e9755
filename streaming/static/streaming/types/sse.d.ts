/** One event of a stream; `id` is the last event ID in force at dispatch. */
export interface Message {
  event: string;
  data: string;
  id: string;
}

/** The peer's bytes cannot be parsed as an event stream. */
export class StreamError extends Error {}

/** Bytes in, messages out (WHATWG HTML, section 9.2.6). */
export class Parser {
  constructor(options?: { lastEventId?: string; maxMessageChars?: number });
  /** The `Last-Event-ID` to send when reconnecting. */
  lastEventId: string;
  /** The reconnection time that the server asked for, in milliseconds. */
  retry: number | undefined;
  /** Returns the messages that these bytes complete. Throws a `StreamError` if they cannot be parsed. */
  feed(bytes: Uint8Array): Message[];
}
