/** How fast text appears. The clock is passed in, in milliseconds. */
export class Typewriter {
  /** What has come and is not shown. */
  readonly pending: string;
  push(text: string, now: number): void;
  /** What to show in this frame. */
  take(now: number): string;
  /** All that is left, at once. */
  flush(): string;
  /** No more text will come. */
  finish(now: number): void;
}

/** A character each 10 ms while more than 50 wait, else each 50 ms. */
export class ClassicTypewriter extends Typewriter {}
