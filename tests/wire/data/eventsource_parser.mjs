// eventsource-parser over one stream cut in many ways. A line in: {stream: base64, cuts: [[position, …], …]}.
// A line out: for each way the data of its events.
import { createInterface } from "node:readline";
import { createParser } from "eventsource-parser";

function parsed(bytes, cuts) {
  const events = [];
  const parser = createParser({ onEvent: (event) => events.push(event.data) });
  const decoder = new TextDecoder(); // takes the byte order mark off, as a browser does
  let start = 0;
  for (const end of [...cuts, bytes.length]) {
    parser.feed(decoder.decode(bytes.subarray(start, end), { stream: true }));
    start = end;
  }
  parser.feed(":\n"); // it keeps a CR until a later read has a line end: a comment, or the rest of a line, ends no event
  return events;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { stream, cuts } = JSON.parse(line);
  const bytes = Buffer.from(stream, "base64");
  process.stdout.write(JSON.stringify(cuts.map((each) => parsed(bytes, each))) + "\n");
}
