"""Images: where they come from, small ones held on the device, large ones read from files, and the stream of an epoch.

May import the ground floor alone.
"""
