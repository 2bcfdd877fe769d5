"""Who survives the Titanic: rows posted to an endpoint, or scored in batch."""

from headrace import Boosting, Classifier, Column, Contract, Linear, Monitoring, Schedule, Source, System
from headrace.features import col, join, minimum, target_mean
from headrace.policy.monitoring import Threshold, default_rules
from headrace.sources import simulated

title = (
    col("Name")
    .extract(r", ([^.]+)\.")
    .map(
        {"Mlle": "Miss", "Ms": "Miss", "Mme": "Mrs", "Lady": "Mrs", "the Countess": "Mrs"},
        keep=("Mr", "Mrs", "Miss", "Master"),
    )
)
family = col("SibSp") + col("Parch") + 1
women_and_boys = (col("Sex") == "female") | (title == "Master")

# Women and boys of one family mostly lived or died together: what is known of the family, drawn towards what is known
# of people like them.
alike = target_mean(join(women_and_boys, col("Pclass"), women_and_boys & (family > 4)), prior=4)
namesakes = join(col("Name").extract(r"^([^,]+),"), col("Pclass")).where(women_and_boys & (family > 1))
kin = target_mean(namesakes, prior=0.5, towards=alike)
party = target_mean(col("Ticket").where(women_and_boys), prior=0.5, towards=kin)

system = System(
    name="titanic",
    source=Source(simulate=simulated.passengers),
    contract=Contract(
        columns=(
            Column("PassengerId", "integer", minimum=1),
            Column("Survived", "integer", values=(0, 1), nullable=True),
            Column("Pclass", "integer", values=(1, 2, 3)),
            Column("Name", "text"),
            Column("Sex", "category", values=("male", "female")),
            Column("Age", "float", minimum=0, maximum=120, nullable=True),
            Column("SibSp", "integer", minimum=0, maximum=20),
            Column("Parch", "integer", minimum=0, maximum=20),
            Column("Ticket", "text"),
            Column("Fare", "float", minimum=0, maximum=2000, nullable=True),
            Column("Cabin", "text", nullable=True),
            Column("Embarked", "category", values=("C", "Q", "S"), nullable=True),
        ),
    ),
    keys=("PassengerId",),
    target="Survived",
    features={
        "title": title,
        "class": col("Pclass"),
        "family": minimum(family, 6),
        "fare_each": (col("Fare") / family).log1p(),
        "embarked": col("Embarked").fill("S"),
        "age": col("Age"),
        "party": party,
    },
    model=Classifier(members=(Linear(C=0.3), Boosting(n_estimators=120, num_leaves=5, min_child_samples=15))),
    schedule=Schedule(predict="never", train="never"),
    monitoring=Monitoring(
        rules=(*default_rules(), Threshold("accuracy", warn=0.7, alarm=0.6, min_support=100)),
        on_alarm="retrain",
    ),
)
