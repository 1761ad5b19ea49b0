"""Downloadable networks on disk: what is on offer, fetching, checking, converting and keeping them."""
