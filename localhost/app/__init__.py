"""What the user wrote: the functions of the app and how they are called."""
