// The events, for server and client.
export {};
