import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  DEFAULT_MAX_FRAME,
  decodeText,
  encodeFrame,
  FrameDecoder,
  HEADER_BYTES,
  parseObject,
} from '../../../protocol/frame.js';
import { wellFormed } from './arbitraries.js';
import { refusal } from './helpers.js';

function header(length: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt32LE(length, 0);
  return bytes;
}

function drain(decoder: FrameDecoder): string[] {
  const texts: string[] = [];
  for (let payload = decoder.next(); payload !== null; payload = decoder.next())
    texts.push(payload.toString());
  return texts;
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('encodeFrame', () => {
  test('puts the byte length, little-endian, in front of the UTF-8 text', () => {
    expect(encodeFrame('{"a":"é"}')).toEqual(Buffer.from('\x0a\0\0\0{"a":"\xc3\xa9"}', 'latin1'));
    expect(encodeFrame('x'.repeat(0x10203)).subarray(0, 4)).toEqual(Buffer.from([0x03, 0x02, 0x01, 0x00]));
  });

  test('counts bytes, not characters, against the bound, and names the limit', () => {
    expect(encodeFrame('€€', 6)).toHaveLength(HEADER_BYTES + 6);
    const error = refusal(() => encodeFrame('€€', 5), 'FRAME_TOO_LARGE');
    expect(error.details).toEqual({ limit: 'max_frame', limit_value: 5 });
    expect(error.message).toContain('max_frame');
  });

  test('has a default bound of 16 MiB', () => {
    expect(DEFAULT_MAX_FRAME).toBe(16 * 1024 * 1024);
    expect(encodeFrame('x'.repeat(DEFAULT_MAX_FRAME))).toHaveLength(HEADER_BYTES + DEFAULT_MAX_FRAME);
    refusal(() => encodeFrame('x'.repeat(DEFAULT_MAX_FRAME + 1)), 'FRAME_TOO_LARGE');
  });
});

describe('FrameDecoder', () => {
  const texts = ['{}', '{"type":"Ping","id":1}', '{"sql":"𝄞 é €"}', `{"pad":"${'x'.repeat(70)}"}`];

  test('gives a frame that is split at any byte, once, when its last byte came', () => {
    for (const text of texts) {
      const frame = encodeFrame(text);
      for (let at = 1; at < frame.length; at += 1) {
        const decoder = new FrameDecoder();
        decoder.push(frame.subarray(0, at));
        expect(decoder.next()).toBeNull();
        decoder.push(frame.subarray(at));
        expect(drain(decoder)).toEqual([text]);
      }
    }
  });

  test('gives a frame that comes byte by byte', () => {
    const decoder = new FrameDecoder();
    const frame = encodeFrame(texts[2] ?? '');
    for (const byte of frame.subarray(0, -1)) {
      decoder.push(Buffer.from([byte]));
      expect(decoder.next()).toBeNull();
    }
    decoder.push(frame.subarray(-1));
    expect(drain(decoder)).toEqual([texts[2]]);
  });

  test('gives many frames of one chunk in order', () => {
    const many = Array.from({ length: 500 }, (_, index) => `{"id":${index}}`);
    const decoder = new FrameDecoder();
    decoder.push(Buffer.concat(many.map((text) => encodeFrame(text))));
    expect(drain(decoder)).toEqual(many);
    expect(decoder.buffered).toBe(0);
  });

  test('gives the same frames whatever the chunks are', () => {
    const payloads = fc.array(fc.string({ minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 8 });
    const sizes = fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(payloads, sizes, fc.boolean(), (sent, cuts, eager) => {
        const stream = Buffer.concat(sent.map((text) => encodeFrame(text)));
        const decoder = new FrameDecoder();
        const got: string[] = [];
        for (let at = 0, turn = 0; at < stream.length; turn += 1) {
          // A cut of 0 is an empty chunk; the + 1 keeps the loop moving when all are.
          const size = (cuts[turn % cuts.length] ?? 0) + (turn % cuts.length === 0 ? 1 : 0);
          decoder.push(stream.subarray(at, at + size));
          at += size;
          if (eager) got.push(...drain(decoder));
        }
        got.push(...drain(decoder));
        expect(got).toEqual(sent);
        expect(decoder.buffered).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  test('joins the chunks of a large frame once', () => {
    const text = 'x'.repeat(1024 * 1024);
    const frame = encodeFrame(text);
    const joined = vi.spyOn(Buffer, 'concat');
    const decoder = new FrameDecoder();
    const got: string[] = [];
    for (let at = 0; at < frame.length; at += 4096) {
      decoder.push(frame.subarray(at, at + 4096));
      got.push(...drain(decoder));
    }
    expect(got).toEqual([text]);
    expect(joined.mock.calls.length).toBe(1);
  });

  test('refuses a length over the bound from the header alone and keeps nothing of it', () => {
    for (const length of [101, 65_536, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
      const decoder = new FrameDecoder(100);
      decoder.push(header(length).subarray(0, 3));
      expect(decoder.next()).toBeNull();
      decoder.push(header(length).subarray(3));
      const error = refusal(() => decoder.next(), 'FRAME_TOO_LARGE');
      expect(error.details).toEqual({ limit: 'max_frame', limit_value: 100 });
      expect(error.message).toContain(String(length));
      expect(error.fatal).toBe(true);
      expect(decoder.buffered).toBe(0);
    }
  });

  test('takes a frame of exactly the bound', () => {
    const decoder = new FrameDecoder(100);
    decoder.push(encodeFrame('x'.repeat(100)));
    expect(decoder.next()).toHaveLength(100);
  });

  test('refuses a frame of zero length', () => {
    const decoder = new FrameDecoder();
    decoder.push(header(0));
    expect(refusal(() => decoder.next(), 'PROTOCOL_ERROR').fatal).toBe(true);
  });

  test('gives the good frames before a bad one', () => {
    const decoder = new FrameDecoder(100);
    decoder.push(Buffer.concat([encodeFrame('{"id":1}'), encodeFrame('{"id":2}'), header(0)]));
    expect(decoder.next()?.toString()).toBe('{"id":1}');
    expect(decoder.next()?.toString()).toBe('{"id":2}');
    refusal(() => decoder.next(), 'PROTOCOL_ERROR');
  });

  test('counts the bytes that wait for the rest of their frame', () => {
    const decoder = new FrameDecoder();
    const frame = encodeFrame('0123456789');
    decoder.push(frame.subarray(0, 9));
    expect(decoder.buffered).toBe(9);
    expect(decoder.next()).toBeNull();
    expect(decoder.buffered).toBe(5);
    decoder.push(Buffer.concat([frame.subarray(9), frame.subarray(0, 2)]));
    expect(decoder.next()?.toString()).toBe('0123456789');
    expect(decoder.buffered).toBe(2);
  });
});

describe('decodeText', () => {
  test('gives back any well-formed text, a byte order mark included', () => {
    fc.assert(fc.property(wellFormed, (text) => decodeText(Buffer.from(text)) === text));
    expect(decodeText(Buffer.from('\ufeff{}'))).toBe('\ufeff{}');
    expect(decodeText(Buffer.from('"\ufffd"'))).toBe('"\ufffd"');
  });

  test.each([
    ['a stray continuation byte', [0x7b, 0x80, 0x7d]],
    ['a cut sequence', [0x7b, 0x7d, 0xe2, 0x82]],
    ['an overlong slash', [0xc0, 0xaf]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['a code point over U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
    ['UTF-16', [0xff, 0xfe, 0x7b, 0x00]],
  ])('refuses %s instead of replacing it', (_, bytes) => {
    expect(refusal(() => decodeText(Buffer.from(bytes)), 'PROTOCOL_ERROR').fatal).toBe(true);
  });

  test('accepts what a strict decoder accepts, and nothing else', () => {
    const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 8 }), (bytes) => {
        let expected: string | null = null;
        try {
          expected = strict.decode(bytes);
        } catch {}
        if (expected === null) refusal(() => decodeText(Buffer.from(bytes)), 'PROTOCOL_ERROR');
        else expect(decodeText(Buffer.from(bytes))).toBe(expected);
      }),
      { numRuns: 500 },
    );
  });
});

describe('parseObject', () => {
  test.each([
    '',
    ' ',
    '{',
    '{"a":1}}',
    "{'a':1}",
    '{"a":NaN}',
    '{"a":01}',
    '\ufeff{}',
    '{"a":1,}',
    'undefined',
  ])('refuses %j, which is not JSON', (text) => {
    const error = refusal(() => parseObject(text), 'PROTOCOL_ERROR');
    expect(error.fatal).toBe(true);
    expect(error.message).toContain('not JSON');
    expect(error.cause).toBeInstanceOf(SyntaxError);
  });

  test.each(['null', '[]', '[{"type":"Ping"}]', '"{}"', '7', 'true'])(
    'refuses %s, which is no object',
    (text) => {
      expect(refusal(() => parseObject(text), 'PROTOCOL_ERROR').message).toContain('not an object');
    },
  );

  test('gives the object, white space around it or not', () => {
    expect(parseObject(' {"a":[1,{"b":null}]}\r\n')).toEqual({ a: [1, { b: null }] });
  });

  test('makes "__proto__" a field like any other', () => {
    const object = parseObject('{"__proto__":{"type":"Shutdown"},"constructor":1}');
    expect(Object.getPrototypeOf(object)).toBe(Object.prototype);
    expect(Object.keys(object)).toEqual(['__proto__', 'constructor']);
    expect(object.type).toBeUndefined();
  });

  test('takes the last of duplicate keys', () => {
    expect(parseObject('{"db":"a.db","db":"b.db"}')).toEqual({ db: 'b.db' });
  });
});
