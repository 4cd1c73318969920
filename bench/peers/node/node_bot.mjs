// The same events from AWS's runtime client for Node, as plain as can be: no framework, no checks.
import { setTimeout } from "node:timers/promises";

export const handler = awslambda.streamifyResponse(async (event, response) => {
  const query = JSON.parse(event.body).query;
  const [events, pause] = query[query.length - 1].content.split(" ");
  response = awslambda.HttpResponseStream.from(response, {
    statusCode: 200,
    headers: { "content-type": "text/event-stream" },
  });
  for (let number = 0; number < Number(events); number++) {
    if (pause !== "0") await setTimeout(Number(pause) * 1000);
    const data = JSON.stringify({ text: `token ${number} ` });
    response.write(`event: text\r\ndata: ${data}\r\n\r\n`);
    // A turn of the loop, as an asynchronous generator takes one: else all events are one write.
    await new Promise(setImmediate);
  }
  response.end("event: done\r\ndata: {}\r\n\r\n");
});
