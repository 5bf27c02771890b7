// node produce.mjs ADDRESS TOPIC — writes each line of standard input as a message of plain text, as a program with the ordinary
// JavaScript client does. The line `key<TAB>text` has a key.
import { readFileSync } from 'node:fs';
import { Kafka, Partitioners } from 'kafkajs';

const [address, topic] = process.argv.slice(2);
const lines = readFileSync(0, 'utf8').split('\n').filter((line) => line !== '');
const messages = lines.map((line) => {
  const at = line.indexOf('\t');
  return at < 0 ? { value: line } : { key: line.slice(0, at), value: line.slice(at + 1) };
});
const kafka = new Kafka({ clientId: 'millstream-tests', brokers: [address] });
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
await producer.connect();
await producer.send({ topic, messages });
await producer.disconnect();
