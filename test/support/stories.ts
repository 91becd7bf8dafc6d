/** Tests that mostly wait (for a lease, a timer, a process to start) and need nothing of one another: they run side by side. */

export interface Stories {
  /**
   * A test like any other, with its own name and outcome; it only begins earlier, beside those of the other lanes.
   * @param run is told its lane: where two may not share a thing, each lane has its own.
   */
  story(name: string, run: (lane: number) => Promise<void>, timeoutMs?: number): void;
  /** How many have not ended yet. */
  left(): number;
}

interface Story {
  readonly run: (lane: number) => Promise<void>;
  readonly outcome: Promise<void>;
  readonly end: (outcome: Promise<void>) => void;
}

/**
 * Call it at the top of a file or of a `describe`, after its `beforeAll`: the stories begin when that is done.
 * @param lanes how many run at the same time. More are not quicker on two cores, only harder to keep in time.
 */
export function createStories(lanes: number): Stories {
  const stories: Story[] = [];
  let next = 0;
  let ended = 0;

  async function runLane(lane: number): Promise<void> {
    for (let story = stories[next++]; story !== undefined; story = stories[next++]) {
      const outcome = story.run(lane);
      story.end(outcome);
      await outcome.catch(() => undefined);
      ended += 1;
    }
  }

  beforeAll(() => {
    for (let lane = 0; lane < lanes; lane += 1) void runLane(lane);
  });

  return {
    story(name, run, timeoutMs) {
      let end: Story['end'] = () => undefined;
      const outcome = new Promise<void>((resolve) => (end = resolve));
      // It may fail before jest asks for it.
      outcome.catch(() => undefined);
      stories.push({ run, outcome, end });
      test(name, () => outcome, timeoutMs);
    },
    left: () => stories.length - ended,
  };
}
