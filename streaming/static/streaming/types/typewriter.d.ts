/** Paces how fast text appears. The caller passes the time, in milliseconds. */
export class Typewriter {
  /** Text received but not yet shown. */
  readonly pending: string;
  push(text: string, now: number): void;
  /** Returns the text to show in this frame. */
  take(now: number): string;
  /** Returns all remaining text at once. */
  flush(): string;
  /** No more text will come. */
  finish(now: number): void;
}

/** One character every 10 ms while more than 50 are pending, otherwise every 50 ms. */
export class ClassicTypewriter extends Typewriter {}
