"""An agent's folder and zip, read as data without running anything: pickles, tensors, spaces."""
