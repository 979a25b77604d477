// The events, for server and client.

export interface ChatMessage {
  text: string;
  from: string;
}

export interface ClientToServerEvents {
  join: (room: string, joined: () => void) => void;
  message: (room: string, text: string) => void;
}

export interface ServerToClientEvents {
  message: (message: ChatMessage) => void;
}

/** From node to node. */
export interface InterServerEvents {
  ping: (answer: (pid: number) => void) => void;
}

export interface SocketData {
  name: string;
}
