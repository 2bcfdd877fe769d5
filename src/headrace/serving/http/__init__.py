"""The HTTP door: rows answered on request and durably logged, forecasts read from an index.

The prediction route is plain ASGI, everything else is FastAPI; one OpenAPI document describes both.
"""
