import {
  ConnectedSocket,
  MessageBody,
  SubscribeMessage,
  WebSocketGateway,
  WebSocketServer,
} from "@nestjs/websockets";
import type { Server, Socket } from "socket.io";

@WebSocketGateway()
export class ChatGateway {
  @WebSocketServer()
  private readonly server!: Server;

  @SubscribeMessage("join")
  async join(@ConnectedSocket() socket: Socket, @MessageBody() room: string): Promise<string> {
    await socket.join(room);
    return room;
  }

  @SubscribeMessage("message")
  message(@MessageBody() { room, text }: { room: string; text: string }): void {
    // To the room's members on every node.
    this.server.to(room).emit("message", text);
  }

  @SubscribeMessage("members")
  async members(@MessageBody() room: string): Promise<string[]> {
    const sockets = await this.server.in(room).fetchSockets();
    return sockets.map(({ id }) => id);
  }
}
