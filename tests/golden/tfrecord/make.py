#!/usr/bin/env python3
"""Writes protobuf.tfrecord by Google's library (packages protobuf-compiler, python3-protobuf)."""
import pathlib
import struct
import subprocess
import sys
import tempfile

# Message and field numbers of tensorflow/core/example/{example,feature}.proto.
PROTO = """syntax = "proto3";
package tensorflow;
message BytesList { repeated bytes value = 1; }
message FloatList { repeated float value = 1 [packed = true]; }
message Int64List { repeated int64 value = 1 [packed = true]; }
message Feature {
  oneof kind { BytesList bytes_list = 1; FloatList float_list = 2; Int64List int64_list = 3; }
}
message Features { map<string, Feature> feature = 1; }
message Example { Features features = 1; }
"""

folder = tempfile.mkdtemp()
pathlib.Path(folder, "example.proto").write_text(PROTO)
subprocess.run(["protoc", "--python_out=.", "example.proto"], cwd=folder, check=True)
sys.path.insert(0, folder)
import example_pb2  # noqa: E402


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


with open(pathlib.Path(__file__).parent / "protobuf.tfrecord", "wb") as out:
    for i in range(3):
        example = example_pb2.Example()
        feature = example.features.feature
        feature["image_raw"].bytes_list.value.append(bytes(i * k for k in range(12)))
        feature["label"].int64_list.value.append(i - 1)
        feature["box"].float_list.value.extend([0.5, -2.0])
        feature["names"].bytes_list.value.extend([b"a", b"b"])
        feature["nothing"].SetInParent()
        data = example.SerializeToString()
        length = struct.pack("<Q", len(data))
        out.write(length + struct.pack("<I", masked_crc(length)))
        out.write(data + struct.pack("<I", masked_crc(data)))
