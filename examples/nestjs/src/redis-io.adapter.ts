// Nest's adapter for Socket.IO, with Redis Streams between the nodes.

import type { INestApplicationContext } from "@nestjs/common";
import { IoAdapter } from "@nestjs/platform-socket.io";
import type { Server, ServerOptions } from "socket.io";
import { createAdapter } from "socket.io-redis-streams-native";

export class RedisIoAdapter extends IoAdapter {
  private readonly adapter: ReturnType<typeof createAdapter>;

  constructor(app: INestApplicationContext, redisUrl: string) {
    super(app);
    this.adapter = createAdapter(redisUrl);
  }

  override createIOServer(port: number, options?: ServerOptions): Server {
    return super.createIOServer(port, {
      ...options,
      adapter: this.adapter,
      connectionStateRecovery: {},
    } as ServerOptions);
  }
}
