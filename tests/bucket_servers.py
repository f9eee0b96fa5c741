"""Buckets on loopback: Google's by gcp-storage-emulator, Amazon's by moto."""

import contextlib
import socket


@contextlib.contextmanager
def google():
  """Yields the environment in which gs://bucket is there."""
  from gcp_storage_emulator import server

  read_data = server._read_data

  def read_multipart(handler, query):
    """Takes objects byte for byte; e-mail loses a carriage return at an end."""
    kind = handler.headers.get('Content-Type') or ''
    if not kind.startswith('multipart/related'):
      return read_data(handler, query)
    raw = server._read_raw_data(handler)
    mark = b'--' + kind.split('boundary=')[1].strip('"').encode()
    _, meta, rest = raw.split(mark, 2)
    head, _, content = rest.partition(b'\n\n')
    return {
      'meta': server.json.loads(meta.partition(b'\n\n')[2]),
      'content': content.rpartition(b'\n' + mark)[0],
      'content-type': head.partition(b': ')[2].decode(),
    }

  server._read_data = read_multipart
  port = free_port()
  emulator = server.create_server(
    '127.0.0.1', port, in_memory=True, default_bucket='bucket'
  )
  emulator.start()
  try:
    yield {'STORAGE_EMULATOR_HOST': f'http://127.0.0.1:{port}'}
  finally:
    emulator.stop()
    server._read_data = read_data


@contextlib.contextmanager
def amazon():
  """Yields the environment in which s3://bucket is there."""
  import boto3
  from moto import server

  emulator = server.ThreadedMotoServer('127.0.0.1', 0, verbose=False)
  emulator.start()
  host, port = emulator.get_host_and_port()
  environment = {
    'AWS_ENDPOINT_URL': f'http://{host}:{port}',
    'AWS_ACCESS_KEY_ID': 'anyone',
    'AWS_SECRET_ACCESS_KEY': 'anything',
    'AWS_DEFAULT_REGION': 'us-east-1',
  }
  try:
    boto3.client(
      's3',
      endpoint_url=environment['AWS_ENDPOINT_URL'],
      aws_access_key_id='anyone',
      aws_secret_access_key='anything',
      region_name='us-east-1',
    ).create_bucket(Bucket='bucket')
    yield environment
  finally:
    emulator.stop()


def free_port():
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]
