"""The trigger set: a black-box mark of keyed inputs with keyed answers."""
