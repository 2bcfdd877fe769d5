"""The Open Inference Protocol over gRPC: a translation onto the REST form of it, on a port of its own."""
