"""FastAPI on uvicorn: the pipeline is loaded before the first request, each request is answered by itself.

`async def`, so that inference runs in the event loop's own thread, and no threads compete for the GIL: `def`,
and so FastAPI's thread pool, is for calls that wait, and these compute.
"""

from fastapi import FastAPI
from pipeline import find, load
from pydantic import BaseModel


class Question(BaseModel):
    text: str | None = None
    texts: list[str] = []


class Entity(BaseModel):
    text: str
    tag: str
    start: int
    end: int


nlp = load()
app = FastAPI()


@app.get("/ready")
async def ready() -> None:
    """Answer once the pipeline is loaded."""


@app.post("/ner")
async def ner(question: Question) -> list[list[Entity]]:
    """The entities of each text."""
    return find(nlp, question.texts if question.text is None else [question.text])
