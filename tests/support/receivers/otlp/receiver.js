#!/usr/bin/env node
/*
 * A receiver of OTLP/HTTP logs that reads and answers with OpenTelemetry's own code for JavaScript
 * (@opentelemetry/otlp-transformer; from version 0.218 on it reads no requests any more).
 *
 * A request has to say what it says when that code has read it and writes it again: so there is
 * nothing in it which that does not know. All of its fields are looked at, too. Of records that begin
 * with "refused " the reply says that they were rejected.
 *
 * One line of JSON on standard output says where it listens, and where its control port is:
 *
 *     GET /taken    the records as lines of NDJSON; status 500 and why when something was wrong
 *     GET /stats    {"protobuf": N, "json": N, "gzip": N}: requests
 *     POST /forget  all of that begins anew
 */
'use strict';

const assert = require('node:assert');
const http = require('node:http');
const zlib = require('node:zlib');
const root = require('@opentelemetry/otlp-transformer/build/src/generated/root');

const { ExportLogsServiceRequest, ExportLogsServiceResponse } = root.opentelemetry.proto.collector.logs.v1;
const PLAIN = { longs: String, bytes: String };

const taken = [];
const violations = [];
const identities = new Set();
const stats = { protobuf: 0, json: 0, gzip: 0 };

const decoders = {
  'application/x-protobuf': (body) => {
    const message = ExportLogsServiceRequest.decode(body);
    assert.deepStrictEqual(Buffer.from(ExportLogsServiceRequest.encode(message).finish()), body);
    stats.protobuf++;
    return ExportLogsServiceRequest.toObject(message, PLAIN);
  },
  'application/json': (body) => {
    const told = JSON.parse(body);
    const read = ExportLogsServiceRequest.toObject(ExportLogsServiceRequest.fromObject(told), PLAIN);
    assert.deepStrictEqual(read, told);
    stats.json++;
    return read;
  },
};
const encoders = {
  'application/x-protobuf': (message) => ExportLogsServiceResponse.encode(message).finish(),
  'application/json': (message) => JSON.stringify(ExportLogsServiceResponse.toObject(message, PLAIN)),
};

function attributesOf(list) {
  const found = {};

  for (const { key, value } of list) {
    assert.ok(!(key in found), `${key} is there twice`);
    assert.strictEqual(Object.keys(value).length, 1);
    found[key] = value.stringValue ?? value.boolValue;
  }
  return found;
}

function timeOf(ns) {
  const whole = new Date(Number(BigInt(ns) / 1000000000n) * 1000).toISOString();

  return whole.replace('000Z', String(BigInt(ns) % 1000000000n).padStart(9, '0') + 'Z');
}

function recordOf(log, resource) {
  const { timeUnixNano, observedTimeUnixNano, body, attributes, ...others } = log;
  const {
    'log.iostream': stream, 'log.record.uid': identity, 'ringtail.partial': partial, ...strange
  } = attributesOf(attributes);
  const { stringValue, bytesValue, ...neither } = body;

  assert.deepStrictEqual([others, strange, neither], [{}, {}, {}]);
  assert.strictEqual(timeUnixNano, observedTimeUnixNano);
  assert.match(stream, /^std(out|err)$/);
  assert.match(identity, /^\S+$/);
  assert.ok(!identities.has(identity), `identity ${identity} is there twice`);
  identities.add(identity);
  assert.notStrictEqual(stringValue === undefined, bytesValue === undefined);
  assert.ok(partial === undefined || partial === true);
  return {
    ts: timeOf(timeUnixNano),
    stream,
    container_id: resource['container.id'],
    container_name: resource['container.name'],
    image: resource['container.image.name'],
    ...(stringValue === undefined ? { line_b64: bytesValue } : { line: stringValue }),
    ...(partial && { partial }),
  };
}

function recordsOf(request) {
  const records = [];

  assert.deepStrictEqual(Object.keys(request), ['resourceLogs']);
  for (const { resource, scopeLogs, ...others } of request.resourceLogs) {
    const named = attributesOf(resource.attributes);

    assert.deepStrictEqual(others, {});
    assert.deepStrictEqual(Object.keys(named).sort(),
      ['container.id', 'container.image.name', 'container.name', 'host.name']);
    assert.match(named['container.id'], /^[0-9a-f]{64}$/);
    assert.ok(named['host.name'].length > 0);
    assert.strictEqual(scopeLogs.length, 1);
    assert.strictEqual(scopeLogs[0].scope.name, 'ringtail');
    assert.match(scopeLogs[0].scope.version, /^\d+\.\d+\.\d+/);
    assert.ok(scopeLogs[0].logRecords.length > 0);
    records.push(...scopeLogs[0].logRecords.map((log) => recordOf(log, named)));
  }
  return records;
}

function answer(request, body) {
  const type = request.headers['content-type'];
  const encoding = request.headers['content-encoding'];

  assert.strictEqual(`${request.method} ${request.url}`, 'POST /v1/logs');
  assert.ok(encoding === undefined || encoding === 'gzip', encoding);
  assert.ok(type in decoders, type);
  if (encoding) {
    body = zlib.gunzipSync(body);
    stats.gzip++;
  }
  const records = recordsOf(decoders[type](body));
  const good = records.filter((record) => !record.line?.startsWith('refused '));
  const rejected = records.length - good.length;

  taken.push(...good);
  return encoders[type](ExportLogsServiceResponse.fromObject({
    partialSuccess: rejected ? { rejectedLogRecords: rejected, errorMessage: 'by its text' } : {},
  }));
}

function listen(respond, ready) {
  const server = http.createServer((request, response) => {
    const chunks = [];

    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => respond(request, response, Buffer.concat(chunks)));
  });

  server.listen(0, '127.0.0.1', () => ready(server.address().port));
}

function receive(request, response, body) {
  try {
    const reply = answer(request, body);

    response.setHeader('Content-Type', request.headers['content-type']);
    response.end(reply);
  } catch (error) {
    violations.push(String(error.stack));
    response.statusCode = 400;
    response.end();
  }
}

function control(request, response) {
  if (request.url === '/stats') {
    response.end(JSON.stringify(stats));
  } else if (request.url === '/forget') {
    taken.length = violations.length = 0;
    identities.clear();
    Object.assign(stats, { protobuf: 0, json: 0, gzip: 0 });
    response.end();
  } else if (violations.length > 0) {
    response.statusCode = 500;
    response.end(violations[0]);
  } else {
    response.end(taken.map((record) => JSON.stringify(record) + '\n').join(''));
  }
}

listen(receive, (port) => listen(control, (controlPort) => {
  console.log(JSON.stringify({ port, control_port: controlPort }));
}));
