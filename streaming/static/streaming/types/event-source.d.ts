import { type Message, StreamError } from "./sse.js";

export { type Message, StreamError };

export interface Retry {
  /** How many failures in a row are one too many; 8. */
  attempts?: number;
  /** The longest first wait, in milliseconds; it doubles with each failure. */
  from?: number;
  /** The longest wait of all, in milliseconds. */
  to?: number;
  /** An answer that opens ends a row of failures; else a message does. */
  openCounts?: boolean;
  /** Send a request again that is not a GET: only if it may happen twice. */
  resend?: boolean;
  random?: () => number;
}

export interface Options {
  method?: string;
  /** A function is called for each attempt: tokens expire. */
  headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>);
  body?: BodyInit | null;
  credentials?: RequestCredentials;
  signal?: AbortSignal;
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
  retry?: Retry | false;
  /** Milliseconds without a byte after which the connection counts as cut; 45,000. */
  idleTimeout?: number;
  lastEventId?: string;
  maxMessageChars?: number;
  /** Where a cut stream is read on, with a GET. */
  resume?: (lastEventId: string) => string | URL;
  /** May look at the response before it is parsed, or throw. */
  onOpen?: (response: Response) => void | Promise<void>;
  onBytes?: (count: number) => void;
  onCut?: (cut: unknown, delay: number) => void;
}

/** Problem details (RFC 9457). */
export interface Problem {
  type?: string;
  title?: string;
  status?: number;
  detail?: string;
}

/** The answer is not an event stream. */
export class RefusedError extends StreamError {
  status: number;
  headers: Headers;
  body: string;
  problem: Problem | null;
  /** Whether the stream had begun, and was cut. */
  isReturn: boolean;
}

/** The stream ended, or fell silent, before it was done. */
export class CutError extends StreamError {}

/** The messages of a stream, until `done`, across reconnections. `break` aborts the request. */
export function fetchEvents(url: string | URL, options?: Options): AsyncGenerator<Message, void, undefined>;

/** `EventSource`, over fetch. */
export class FetchEventSource extends EventTarget {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSED: 2;
  /** The same interface for bytes that are here already. */
  static fromReadableStream(stream: ReadableStream<Uint8Array>): FetchEventSource;
  constructor(url: string | URL, init?: Options & { withCredentials?: boolean });
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSED: 2;
  readonly readyState: 0 | 1 | 2;
  readonly url: string;
  readonly withCredentials: boolean;
  lastEventId: string;
  onopen: ((this: FetchEventSource, event: Event) => unknown) | null;
  onmessage: ((this: FetchEventSource, event: MessageEvent<string>) => unknown) | null;
  onerror: ((this: FetchEventSource, event: Event & { error?: unknown }) => unknown) | null;
  close(): void;
}
