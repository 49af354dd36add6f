"""Messages in hand: taken from queues, worked on in order, sent, given back."""
