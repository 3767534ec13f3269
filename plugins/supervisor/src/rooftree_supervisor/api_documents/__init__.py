"""The API described for programs and shown to people: the OpenAPI document and the page that renders it."""
