"""TaskService."""
# ruff: noqa: N802 - gRPC names methods as the service does

from __future__ import annotations

import grpc

from fedcoin.core.task import Task
from fedcoin.rpc.convert import from_field, to_message
from fedcoin.rpc.handlers import MinerHandler
from fedcoin.rpc.paging import offset_page
from fedcoin.rpc.servicers.common import check_request_id, source_of
from fedcoin.v1 import task_service_pb2 as pb
from fedcoin.v1.task_service_pb2_grpc import TaskServiceServicer


class TaskServicer(TaskServiceServicer):
    """Shapley tasks."""

    def __init__(self, handler: MinerHandler) -> None:
        self._handler = handler

    async def GetTaskTerms(
        self, request: pb.GetTaskTermsRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetTaskTermsResponse:
        """What a server needs of the chain to publish a task."""
        return pb.GetTaskTermsResponse(terms=to_message(await self._handler.task_terms()))

    async def PublishTask(
        self, request: pb.PublishTaskRequest, context: grpc.aio.ServicerContext
    ) -> pb.PublishTaskResponse:
        """Takes in a task."""
        check_request_id(request)
        task = from_field(Task, request, "task")
        return pb.PublishTaskResponse(task_hash=await self._handler.publish_task(task, source_of(context)))

    async def ListOpenTasks(
        self, request: pb.ListOpenTasksRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListOpenTasksResponse:
        """One page of the tasks that wait for a block."""
        response = pb.ListOpenTasksResponse()
        tasks = await self._handler.open_tasks()
        response.next_page_token = offset_page(request, "tasks", b"", tasks, to_message, response.tasks)
        return response
