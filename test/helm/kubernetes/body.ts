import { parse, type Type } from 'protobufjs'
import { parse as parseYAML } from 'yaml'
import type { Json } from './kinds.ts'

/** The envelope, and the part of the API that Helm sends as protobuf: Secrets, in which it keeps its releases. */
const { root } = parse(
  `syntax = "proto2";
  message Unknown { optional TypeMeta typeMeta = 1; optional bytes raw = 2; }
  message TypeMeta { optional string apiVersion = 1; optional string kind = 2; }
  message ObjectMeta {
    optional string name = 1;
    optional string namespace = 3;
    optional string resourceVersion = 6;
    map<string, string> labels = 11;
    map<string, string> annotations = 12;
  }
  message Secret {
    optional ObjectMeta metadata = 1;
    map<string, bytes> data = 2;
    optional string type = 3;
  }
  message Preconditions { optional string uid = 1; }
  message DeleteOptions {
    optional int64 gracePeriodSeconds = 1;
    optional Preconditions preconditions = 2;
    optional bool orphanDependents = 3;
    optional string propagationPolicy = 4;
    repeated string dryRun = 5;
  }`,
  { keepCase: true },
)

const decode = (type: Type, bytes: Uint8Array): Json =>
  type.toObject(type.decode(bytes), { bytes: String, longs: Number })

/** The first bytes of every protobuf body. */
const magic = Buffer.from('k8s\0')

/** What a request carries, whatever it is written in; undefined when there is nothing. */
export function decodeBody(body: Buffer, contentType = ''): Json | undefined {
  if (body.length === 0) return undefined
  if (!contentType.includes('protobuf')) return parseYAML(body.toString()) as Json
  if (!body.subarray(0, magic.length).equals(magic)) throw new Error('a protobuf body without its first bytes')
  const { typeMeta, raw } = root.lookupType('Unknown').decode(body.subarray(magic.length)).toJSON() as {
    typeMeta: { apiVersion: string; kind: string }
    raw: string
  }
  return { ...typeMeta, ...decode(root.lookupType(typeMeta.kind), Buffer.from(raw, 'base64')) }
}
