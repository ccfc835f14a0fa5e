"""The portal's pages: thin doors that gather what a person may see, and turn forms into acts. One noun a file."""
