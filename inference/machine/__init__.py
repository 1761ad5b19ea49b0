"""What this computer can do: devices, memory, native libraries."""
