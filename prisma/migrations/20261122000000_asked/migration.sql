-- Which candidate of a call was asked last, or was about to be, where it does not promise to work only once. A call that is taken over
-- from a dead process is asked there when this is another one than `attempt`: nobody has been asked yet.
ALTER TABLE gateway_call ADD COLUMN asked integer;
