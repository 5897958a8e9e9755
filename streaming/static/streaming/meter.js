// Shows four figures of the running stream: characters a second, characters held back, events and bytes.

export class Meter {
  #begun = 0;
  #counts = { characters: 0, held: 0, events: 0, bytes: 0 };
  #parts;

  /** @param {(name: string) => HTMLElement} part */
  constructor(part) {
    this.#parts = part;
  }

  begin() {
    this.#begun = performance.now();
    this.#counts = { characters: 0, held: 0, events: 0, bytes: 0 };
    this.show(0);
  }

  /** @param {number} bytes */
  countBytes(bytes) {
    this.#counts.bytes += bytes;
  }

  /** @param {number} characters */
  countEvent(characters) {
    this.#counts.events++;
    this.#counts.characters += characters;
  }

  /** @param {number} held */
  show(held) {
    const { characters, events, bytes } = this.#counts;
    const seconds = Math.max(0.5, (performance.now() - this.#begun) / 1000);
    const numbers = { rate: Math.round(characters / seconds), held, events, bytes };
    for (const [name, number] of Object.entries(numbers))
      this.#parts(name).textContent = number.toLocaleString(document.documentElement.lang);
  }
}
