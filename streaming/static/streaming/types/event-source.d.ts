import { type Message, StreamError } from "./sse.js";

export { type Message, StreamError };

export interface Retry {
  /** How many consecutive failures are allowed; default 8, for a FetchEventSource Infinity. */
  attempts?: number;
  /** Upper bound of the first delay, in milliseconds; it doubles with each failure. */
  from?: number;
  /** Upper bound of every delay, in milliseconds. */
  to?: number;
  /** An opened response resets the failure count, as for a FetchEventSource; otherwise only a message does. */
  openCounts?: boolean;
  /** Send a non-GET request again, for up to four minutes: only for requests that may be repeated. */
  resend?: boolean;
  /** A first request that is refused with 429, 502, 503 or 504 is sent again too, like a reconnect. */
  firstToo?: boolean;
  random?: () => number;
}

export interface Options {
  method?: string;
  /** A function is called for each attempt, as tokens expire. */
  headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>);
  body?: BodyInit | null;
  credentials?: RequestCredentials;
  signal?: AbortSignal;
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
  retry?: Retry | false;
  /** Milliseconds without a byte after which the connection counts as lost; default 45,000. */
  idleTimeout?: number;
  lastEventId?: string;
  maxMessageChars?: number;
  /** Where an interrupted stream is resumed, with a GET. */
  resume?: (lastEventId: string) => string | URL;
  /** Called before the response is parsed, which waits for it; may throw. */
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

/** The response is not an event stream. */
export class RefusedError extends StreamError {
  status: number;
  headers: Headers;
  /** Milliseconds after which the server may be asked again; 0 if it does not say. Reconnects wait as long. */
  retryAfter: number;
  body: string;
  problem: Problem | null;
  /** Whether it answered a reconnect, after the stream had begun. */
  isReconnect: boolean;
}

/** The stream ended or stalled before its `done` event. */
export class CutError extends StreamError {}

/** The messages of a stream across reconnections, up to and including `done`. `break` aborts the request. */
export function fetchEvents(url: string | URL, options?: Options): AsyncGenerator<Message, void, undefined>;

/** `EventSource` over fetch. */
export class FetchEventSource extends EventTarget {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSED: 2;
  /** The same interface for a stream of bytes that is already open. */
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
  addEventListener<Name extends "open" | "error">(
    type: Name,
    listener: (this: FetchEventSource, event: Event & { error?: unknown }) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: (this: FetchEventSource, event: MessageEvent<string>) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: (this: FetchEventSource, event: MessageEvent<string>) => unknown,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}
