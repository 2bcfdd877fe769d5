"""How events are written in messages: payload formats, envelopes, and where a column's value lies in them."""
