"""The open networks that can be downloaded: bringing them here."""
