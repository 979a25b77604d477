// Socket.IO gateways of Nest on several nodes over one Redis.

import "reflect-metadata";
import { NestFactory } from "@nestjs/core";
import { AppModule } from "./app.module.js";
import { RedisIoAdapter } from "./redis-io.adapter.js";

const { HOST = "127.0.0.1", PORT = "3000", REDIS_URL = "redis://localhost:6379" } = process.env;

const app = await NestFactory.create(AppModule);
app.useWebSocketAdapter(new RedisIoAdapter(app, REDIS_URL));
// On SIGTERM Nest closes the gateways, which hands the clients' sessions to the other nodes.
app.enableShutdownHooks([], { useProcessExit: true });
await app.listen(PORT, HOST);
console.log(await app.getUrl());
