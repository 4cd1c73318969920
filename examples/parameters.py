"""Parameter controls: what the user chooses next to the message arrives in its `parameters`."""

from collections.abc import AsyncIterable

import fastapi_poe as fp

CONTROLS = fp.ParameterControls(
    sections=[
        fp.Section(
            name="How to shout",
            controls=[
                fp.Slider(
                    label="Exclamation marks",
                    parameter_name="marks",
                    default_value=1,
                    min_value=0,
                    max_value=5,
                    step=1,
                ),
                fp.DropDown(
                    label="Letters",
                    parameter_name="letters",
                    default_value="upper",
                    options=[
                        fp.ValueNamePair(value="upper", name="LOUD"),
                        fp.ValueNamePair(value="title", name="Dignified"),
                    ],
                ),
                fp.ToggleSwitch(label="Echo", parameter_name="echo", default_value=False),
            ],
        )
    ]
)


class ShoutBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        said, chosen = request.query[-1].content, request.query[-1].parameters
        # Nothing may be chosen: a message from another bot, or by the API, has no controls.
        loud = said.title() if chosen.get("letters") == "title" else said.upper()
        shout = loud + "!" * int(chosen.get("marks", 1))
        yield fp.PartialResponse(text=f"{shout}\n{shout}" if chosen.get("echo") else shout)

    async def get_settings(self, setting: fp.SettingsRequest) -> fp.SettingsResponse:
        return fp.SettingsResponse(parameter_controls=CONTROLS)


bot = ShoutBot()
