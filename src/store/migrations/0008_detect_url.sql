-- The camera's small stream, which is analysed in place of the one at url; NULL: that one is. May hold a password.
ALTER TABLE cameras ADD COLUMN detect_url TEXT;
