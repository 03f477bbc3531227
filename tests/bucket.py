"""An S3-compatible server (moto's) as a process, with a bucket: what a test of S3 speaks to over
real HTTP.
"""

from urllib.parse import quote

import boto3

from tests.stack import Processes, free_port

NAME = 'files'
CREDENTIALS = {
    'AWS_ACCESS_KEY_ID': 'test',
    'AWS_SECRET_ACCESS_KEY': 'test-secret',
    'AWS_EC2_METADATA_DISABLED': 'true',
}


class Bucket:
    """.url is what MEDIA_URL says; .keys() is what lies there."""

    def __init__(self, directory):
        self.port = free_port()
        self.endpoint = f'http://127.0.0.1:{self.port}'
        self.url = (
            f's3://{NAME}/some/prefix?endpoint_url={quote(self.endpoint, safe="")}&region=us-east-1'
        )
        self._processes = Processes(directory, {})

    def __enter__(self):
        self._processes.start('moto', command=f'moto_server -H 127.0.0.1 -p {self.port}')
        self._processes.wait_port(self.port)
        self._client = boto3.client(
            's3',
            endpoint_url=self.endpoint,
            region_name='us-east-1',
            aws_access_key_id='test',
            aws_secret_access_key=CREDENTIALS['AWS_SECRET_ACCESS_KEY'],
        )
        self._client.create_bucket(Bucket=NAME)
        return self

    def __exit__(self, *exception):
        self._client.close()
        self._processes.stop_all()

    def empty(self):
        for key in self.keys():
            self._client.delete_object(Bucket=NAME, Key=key)

    def keys(self):
        return [
            entry['Key'] for entry in self._client.list_objects_v2(Bucket=NAME).get('Contents', [])
        ]
